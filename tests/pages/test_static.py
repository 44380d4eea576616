"""Static files: whole, cached by browsers, and served under ASGI without an iterator that blocks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.contrib.staticfiles import finders

if TYPE_CHECKING:
    from django.test import AsyncClient

URL = "/static/endpoints/olla.css"
CONTENT = Path(str(finders.find("endpoints/olla.css"))).read_bytes()


async def test_a_file_is_answered_whole_and_not_streamed(async_client: AsyncClient) -> None:
    response = await async_client.get(URL)
    assert not response.streaming
    assert response.content == CONTENT
    assert response.headers["Content-Type"] == 'text/css; charset="utf-8"'


async def test_a_file_that_the_browser_has_is_not_sent_again(async_client: AsyncClient) -> None:
    first = await async_client.get(URL)
    again = await async_client.get(URL, headers={"if-modified-since": first.headers["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_part_of_a_file_can_be_asked_for(async_client: AsyncClient) -> None:
    response = await async_client.get(URL, headers={"range": "bytes=3-9"})
    assert (response.status_code, response.content) == (206, CONTENT[3:10])
