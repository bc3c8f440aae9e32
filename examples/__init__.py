"""Examples that run: each drives real sagas from outside and then checks what came of them. Not part of the wheel."""
