"""Payloads encrypted with AES-GCM, and a key that is replaced: what lies in Redis says nothing about a patient.

Keys come from the environment, newest first: ``SEALED_KEYS="2026:<64 hex digits>,2025:<64 hex digits>"``.
"""

import asyncio
import os
import zlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import sagas
from sagas import activity, query, saga, signal

NONCE = 12


class AesGcm:
    """A codec: compressed, then encrypted. The key's name is authenticated, so nobody can swap payloads of two keys."""

    def __init__(self, name: str, key: bytes) -> None:
        self.name = name
        self._cipher = AESGCM(key)

    def encode(self, data: bytes, /) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, zlib.compress(data, 1), self.name.encode())

    def decode(self, data: bytes, /) -> bytes:
        return zlib.decompress(self._cipher.decrypt(data[:NONCE], data[NONCE:], self.name.encode()))


def codecs(keys: str) -> list[AesGcm]:
    """Those of ``name:hex,name:hex``, in that order: the first writes, all read."""
    pairs = (each.partition(":") for each in keys.split(","))
    return [AesGcm(name, bytes.fromhex(key)) for name, _, key in pairs]


# A host, a worker and a client all import this module, and so all of them have the keys.
if keys := os.environ.get("SEALED_KEYS"):
    sagas.use_codec(*codecs(keys))


@activity
async def diagnose(patient: str, symptom: str) -> str:
    return f"{patient}: {symptom} is nothing serious"


@saga
class Visit:
    def __init__(self, patient: str) -> None:
        self.patient = patient
        self.symptoms: list[str] = []
        self.over = False

    async def run(self) -> list[str]:
        await sagas.wait_until(lambda: self.over)
        return [await diagnose(self.patient, symptom) for symptom in self.symptoms]

    @signal
    def complain(self, symptom: str) -> None:
        self.symptoms.append(symptom)

    @signal
    def leave(self) -> None:
        self.over = True

    @query
    def told(self) -> list[str]:
        return self.symptoms


async def main() -> None:
    old, new = os.urandom(32).hex(), os.urandom(32).hex()
    sagas.use_codec(*codecs(f"2025:{old}"))
    async with sagas.embedded() as client:
        visit = await client.start(Visit, "Ada", id="visit-1")
        await visit.signal(Visit.complain, "a cough")
        sagas.use_codec(*codecs(f"2026:{new},2025:{old}"))
        await visit.signal(Visit.complain, "a cold")
        await visit.signal(Visit.leave)
        print(await visit.result())


if __name__ == "__main__":
    asyncio.run(main())
