"""A subscription: sign-up that undoes itself, a charge every month, a card that fails, a cancel in mid-cycle."""
