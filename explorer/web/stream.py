"""The picture's way to the page: quick frames while things move, then a full, then a smooth one.

Stands in for trame-rca's own adapter and scheduler, which render at one size only and let the
page's events reach VTK's interactor unchecked.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.session.pace import FULL, Pace, Quality

U1 = NDArray[np.uint8]
#: Most pixels of a full frame: what software rendering can do in a fraction of a second.
MOST_PIXELS = 2_600_000
#: How long a quick frame may take to render where the processor draws, seconds; compressing it and
#: sending it take as long again.
QUICK_TARGET = 0.05
#: Stillness after which the smooth frame is made, seconds.
STILL_AFTER = 0.16
#: Messages that may be under way before quick frames wait.
MOST_BACKLOG = 4


class Stream:
    """One picture area of a page, in the words of trame-rca's stream manager.

    Parameters
    ----------
    name : str
        Name of the area in the page.
    render : coroutine function ((int, int), bool, Quality) -> uint8 array, (height, width, 3)
        Draws the scene at a size in pixels; the second argument asks for smooth rims, the third
        says what of it is drawn.
    on_event : callable (mapping)
        Called with each pointer event; may call `request`.
    on_full : callable (bool)
        Called after a full frame was handed over, with whether it was the smooth one.
    """

    def __init__(
        self,
        name: str,
        render: Callable[[tuple[int, int], bool, Quality], Awaitable[U1]],
        on_event: Callable[[Mapping[str, Any]], None],
        on_full: Callable[[bool], None],
    ) -> None:
        self.area_name = name
        self.backlog: Callable[[], int] = lambda: 0
        #: Called when the area has another size.
        self.on_size: Callable[[], None] = lambda: None
        #: Whether the page draws by itself: then no frames are made but for `still`.
        self.paused = False
        self._render, self._on_event, self._on_full = render, on_event, on_full
        self._streamer: Any = None
        self._size = (0, 0, 1.0)
        #: What quick frames show, from how long they take.
        self.pace = Pace(slow_aim=QUICK_TARGET)
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._quick = False
        self._task: asyncio.Task[None] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the area in the page's own pixels; zeros while not known."""
        return self._size[:2]

    def set_streamer(self, manager: Any) -> None:
        """Called by the stream manager when the area is registered, and when it goes."""
        self._streamer = manager

    def update_size(self, _origin: object, size: Mapping[str, Any]) -> None:
        """The page tells the area's size and its device's pixel ratio."""
        values = [size.get(k) for k in ("w", "h", "p")] if isinstance(size, Mapping) else []
        if len(values) != 3 or not all(isinstance(v, int | float) for v in values):
            return
        width, height, ratio = (float(v) for v in values)  # type: ignore[arg-type]
        if not all(map(math.isfinite, (width, height, ratio))) or min(width, height) < 16:
            return
        new = (int(min(width, 8192)), int(min(height, 8192)), max(1.0, min(ratio, 4.0)))
        if new != self._size:
            self._size = new
            self.on_size()
            self.request()

    def on_interaction(self, _origin: object, event: object) -> None:
        """A pointer event of the page."""
        if isinstance(event, Mapping):
            self._on_event(event)

    def reset(self) -> None:
        """The page lost its picture: send it again."""
        self.request()

    def request(self, quick: bool = False) -> None:
        """Ask for a frame: the full one, or a quick one that a full one follows."""
        self._quick = quick
        self._wanted.set()

    def start(self) -> None:
        """Begin to make frames when asked."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop making frames."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._streamer = None

    async def still(self) -> U1:
        """The full picture as it is now, uint8, shape (height, width, 3)."""
        return await self._render(self.pixels(), True, FULL)

    def pixels(self, scale: float = 1.0) -> tuple[int, int]:
        """Size of a frame in real pixels."""
        width, height, ratio = self._size if self._size[0] else (1280, 800, 1.0)
        ratio = min(ratio, math.sqrt(MOST_PIXELS / (width * height))) * scale
        return max(16, round(width * ratio)), max(16, round(height * ratio))

    async def _work(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not self._size[0] or self.paused:
                continue
            if self._quick:
                await self.quick()
            else:
                await self._full(smooth=False)
            if await self._calm() and not self.paused:
                await self._full(smooth=True)

    async def _calm(self) -> bool:
        """Whether nothing is asked for during a short while."""
        try:
            await asyncio.wait_for(self._wanted.wait(), STILL_AFTER)
        except TimeoutError:
            return True
        return False

    async def _full(self, smooth: bool) -> None:
        async with self._lock:
            image = await self._render(self.pixels(), smooth, FULL)
            await self._push(image, 92 if smooth else 85, 0)
        self._on_full(smooth)

    async def quick(self) -> None:
        """Make a quick frame now; returns when it is on its way."""
        async with self._lock:
            await self._quick_frame()

    async def _quick_frame(self) -> None:
        deadline = time.monotonic() + 1.0
        while self.backlog() > MOST_BACKLOG and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        begin = time.perf_counter()
        quality = self.pace.quality
        image = await self._render(self.pixels(quality.scale), False, quality)
        self.pace.feed(time.perf_counter() - begin)
        await self._push(image, 70, 2)

    async def _push(self, image: U1, quality: int, subsampling: int) -> None:
        content = await asyncio.to_thread(_jpeg, image, quality, subsampling)
        if self._streamer is None:
            return
        height, width = image.shape[:2]
        meta = {
            "type": "image/jpeg",
            "codec": "",
            "w": width,
            "h": height,
            "st": int(time.time() * 1000),
            "key": "key",
            "quality": quality,
        }
        self._streamer.push_content(self.area_name, meta, content)


def _jpeg(image: U1, quality: int, subsampling: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., :3])).save(
        buffer, "JPEG", quality=quality, subsampling=subsampling
    )
    return buffer.getvalue()


def png(image: U1) -> bytes:
    """A picture as PNG bytes.

    Parameters
    ----------
    image : uint8 array, shape (height, width, 3)
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., :3])).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
