"""The running transfers of the messenger, as its status line shows them."""

from __future__ import annotations

import pytest

from parley_client.messenger.transfers import Transfers


def test_transfers_are_shown_in_whole_percent_while_they_run() -> None:
    changes: list[str] = []
    transfers = Transfers(lambda: changes.append(transfers.describe()))
    with transfers.track("film.mp4", is_upload=True) as on_upload:
        for done in range(0, 1001, 5):
            on_upload(done, 1000)
        with transfers.track("cat.jpg", is_upload=False) as on_download:
            on_download(50, 100)
            assert transfers.upload_count == 1
    assert changes[:3] == ["↑ film.mp4…", "↑ film.mp4 0 %", "↑ film.mp4 1 %"]
    assert changes[-4:] == ["↑ film.mp4 100 %  ↓ cat.jpg…", "↑ film.mp4 100 %  ↓ cat.jpg 50 %", "↑ film.mp4 100 %", ""]
    assert len(changes) == 106, "each percent once"


def test_failed_transfer_is_not_shown_any_more() -> None:
    transfers = Transfers(lambda: None)
    with pytest.raises(OSError, match="disk full"), transfers.track("film.mp4", is_upload=True):
        raise OSError("disk full")
    assert transfers.describe() == ""
