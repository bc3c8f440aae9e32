"""A host for the tests, run as a script: ``host.py URL MODULE`` runs sagas until its stdin is closed."""

import asyncio
import sys

import sagas


async def main(url: str, module: str) -> None:
    async with sagas.embedded(url, modules=[module]):
        sys.stdout.write("up\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
