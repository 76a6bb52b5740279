"""Pictures in terminals: what a terminal announces, and what is written for each."""

from __future__ import annotations

import base64
import os
import pty
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from ovseg_ros.app.ask import terminal
from ovseg_ros.app.ask.terminal import BLOCKS, ITERM, KITTY, SIXEL, half_blocks, protocol_of, sixels

ANSWERS = {
    "\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.35.2)\x1b\\\x1b[?62;c": KITTY,
    "\x1bP>|iTerm2 3.5.0\x1b\\\x1b[?64;1;2;4;6c": ITERM,
    "\x1bP>|WezTerm 20240203\x1b\\\x1b[?65;4;6;18;22c": ITERM,
    "\x1bP>|XTerm(388)\x1b\\\x1b[?63;1;2;4;6;9;15;22c": SIXEL,
    "\x1b_Gi=31;ENOENT:no\x1b\\\x1b[?62;4c": SIXEL,
    "\x1b[?6c": BLOCKS,
    "\x1b[?4c": BLOCKS,  # a VT132: the first number is its class
    "\x1b[?62;14;24c": BLOCKS,
    "": BLOCKS,
}


@pytest.mark.parametrize(("answer", "wanted"), ANSWERS.items(), ids=range(len(ANSWERS)))
def test_the_best_that_a_terminal_announces_is_taken(answer, wanted):
    assert protocol_of(answer) == wanted


ASKER = "from ovseg_ros.app.ask.terminal import protocol; print('<', protocol(), '>')"


def ask_in_a_terminal(answer: bytes, **environment: str) -> tuple[str, bytes]:
    """What `protocol` says in a terminal that answers so, and what the terminal was sent."""
    pid, terminal_fd = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm-256color", **environment})
        os.execv(sys.executable, [sys.executable, "-c", ASKER])
    sent, answered = b"", False
    while b">" not in sent.rpartition(b"<")[2] or b"<" not in sent:
        try:
            sent += os.read(terminal_fd, 1024)
        except OSError:
            break
        if b"\x1b[c" in sent and not answered:
            answered = True
            os.write(terminal_fd, answer)
    os.waitpid(pid, 0)
    os.close(terminal_fd)
    said = re.search(rb"< (\w+) >", sent)
    return said[1].decode() if said else "", sent


@pytest.mark.parametrize("wanted", [KITTY, ITERM, SIXEL, BLOCKS])
def test_a_real_terminal_is_asked_and_its_answer_is_not_echoed(wanted):
    answer = next(text for text, known in ANSWERS.items() if known == wanted)
    said, sent = ask_in_a_terminal(answer.encode())
    assert said == wanted
    assert b"OK" not in sent  # what it answers is read, not shown
    assert b"[?6" not in sent


def test_a_terminal_that_keeps_silent_gets_half_blocks_and_one_without_colours_nothing():
    assert ask_in_a_terminal(b"")[0] == BLOCKS
    assert ask_in_a_terminal(b"", NO_COLOR="1")[0] == "None"
    said, sent = ask_in_a_terminal(b"", TERM="dumb")
    assert said == "None"
    assert b"\x1b" not in sent


def test_nothing_is_asked_or_shown_where_stdout_is_no_terminal():
    done = subprocess.run([sys.executable, "-c", ASKER], capture_output=True, timeout=60)
    assert done.stdout == b"< None >\n"


def test_half_blocks_carry_two_pixels_each():
    image = np.array([[[255, 0, 0], [0, 0, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    assert (
        half_blocks(image, deep=True)
        == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;0;0;48;2;255;255;255m▀\x1b[0m"
    )
    assert half_blocks(image, deep=False) == "\x1b[38;5;196;48;5;21m▀\x1b[38;5;16;48;5;231m▀\x1b[0m"


def painted(text: str) -> np.ndarray:
    """A decoder of sixels, in the words of DEC's manual."""
    body = re.fullmatch(r"\x1bPq(.*)\x1b\\", text, re.DOTALL)[1]
    _, _, width, height = map(int, re.match(r'"(\d+);(\d+);(\d+);(\d+)', body).groups())
    image, colours = np.full((height + 6, width, 3), 7, np.uint8), {}
    x = y = colour = 0
    body = body[body.index("#") :]
    for token in re.findall(r"#\d+;2;\d+;\d+;\d+|#\d+|!\d+.|[$-]|[?-~]", body):
        if token.count(";") == 4:
            number, _, *rgb = map(int, token[1:].split(";"))
            colours[number] = [value * 255 // 100 for value in rgb]
        elif token[0] == "#":
            colour = int(token[1:])
        elif token == "$":
            x = 0
        elif token == "-":
            x, y = 0, y + 6
        else:
            times = int(token[1:-1]) if token[0] == "!" else 1
            for row in range(6):
                if (ord(token[-1]) - 63) >> row & 1:
                    image[y + row, x : x + times] = colours[colour]
            x += times
    return image[:height]


def test_sixels_paint_the_picture():
    levels = np.array([0, 51, 102, 153, 204, 255], np.uint8)
    image = levels[np.random.default_rng(0).integers(0, 6, (13, 9, 3))]
    image[2:9, 1:8] = [51, 255, 0]
    np.testing.assert_array_equal(painted(sixels(image)), image)
    assert "!7" in sixels(image)


def test_a_png_goes_to_kitty_in_chunks_and_to_iterm_whole():
    png = base64.b64encode(bytes(range(256)) * 20).decode()
    parts = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", terminal.kitty(png, 40))
    assert [head for head, _ in parts] == ["a=T,f=100,c=40,q=2,m=1", "m=0"]
    assert "".join(data for _, data in parts) == png
    assert max(len(data) for _, data in parts) <= 4096
    assert terminal.iterm(png, 40).startswith(
        "\x1b]1337;File=inline=1;size=5120;width=40;preserveAspectRatio=1:"
    )


def test_a_picture_keeps_its_shape_and_leaves_room_for_the_answer(monkeypatch):
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: os.terminal_size((100, 40)))
    assert terminal._cells((300, 400)) == (64, 24)
    assert terminal._cells((100, 400)) == (80, 10)
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: os.terminal_size((1, 1)))
    assert terminal._cells((300, 400)) == (1, 1)


@pytest.mark.parametrize(
    ("how", "start"),
    [(BLOCKS, "\x1b[38;5;"), (SIXEL, '\x1bPq"1;1;'), (KITTY, "\x1b_Ga=T"), (ITERM, "\x1b]1337;File=")],
)
def test_every_protocol_is_written(how, start, capsys, monkeypatch):
    monkeypatch.delenv("COLORTERM", raising=False)
    terminal.show(np.zeros((30, 40, 3), np.uint8), how, sys.stdout)
    assert capsys.readouterr().out.startswith(start)


def test_the_asker_gives_up_on_a_terminal_that_hangs_up():
    reader, writer = os.pipe()
    threading.Timer(0.05, os.close, [writer]).start()
    assert terminal._answer(reader) == ""
    os.close(reader)
