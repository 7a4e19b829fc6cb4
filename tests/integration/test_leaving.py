"""A process that hangs after it was told to stop ends by itself, and says what it waited for."""

from __future__ import annotations

import asyncio
import sys
import textwrap

import pytest


@pytest.mark.parametrize(
    ("hang", "named"),
    [
        pytest.param("await swallow()", "in swallow", id="a task that does not let itself be cancelled"),
        pytest.param("async with left(): pass", "in left", id="a context that does not end"),
        pytest.param("block()", "in block", id="a blocked event loop"),
        pytest.param("await asyncio.to_thread(block)", "in block", id="a thread"),
    ],
)
async def test_what_hangs_is_named_and_the_process_ends(hang: str, named: str) -> None:
    program = textwrap.dedent(f"""
        import asyncio, contextlib, time
        from vasset.bootstrap.leaving import end_within

        async def swallow():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        @contextlib.asynccontextmanager
        async def left():
            yield
            await asyncio.Event().wait()

        def block():
            time.sleep(60)

        async def main():
            end_within(0.2)
            {hang}

        asyncio.run(main())
    """)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode == 1
    assert "still not closed" in err.decode()
    assert named in err.decode()
