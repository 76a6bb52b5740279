"""Which words a frame is labelled with, where the words change while it is embedded."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.core.words import REST_S, Vocabulary
from ovseg_ros.ros.inference import stream as module
from ovseg_ros.ros.inference.stream import Stream

pytestmark = pytest.mark.ros


class Engine:
    """Takes some seconds for a frame, while somebody changes the words."""

    def __init__(self, bench, seconds):
        self.bench, self.seconds, self.last_seq, self.labelled = bench, seconds, 0, []
        self.source = SimpleNamespace(newest_seq=lambda: 1)

    def newest(self, *, after):
        self.bench.now += self.seconds
        self.bench.words = self.bench.words.replace(["bowl"])[0]
        return SimpleNamespace(seq=1, header=None, generation=1)

    def label(self, image, vocabulary):
        self.labelled.append(vocabulary.names)
        context = SimpleNamespace(segmentation=None, header=None, has_depth=False, remark_3d="")
        context.placed = lambda placement: context
        return context

    def note(self, *_):
        pass

    freshness = SimpleNamespace(latency_s=lambda header: None)


@pytest.mark.parametrize(("seconds", "names"), [(0.1, ("mug",)), (REST_S / 2, ("mug",)), (REST_S, ("bowl",))])
def test_a_frame_keeps_its_words_unless_it_took_seconds(monkeypatch, seconds, names):
    bench = SimpleNamespace(now=100.0, words=Vocabulary.empty().replace(["mug"])[0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: bench.now))
    engine = Engine(bench, seconds)
    stream = Stream(
        engine,
        SimpleNamespace(wanted=lambda: iter([1]), publish=lambda context: None),
        SimpleNamespace(place=lambda header: None),
        is_on=lambda: True,
        vocabulary=lambda: bench.words,
        settings=lambda: SimpleNamespace(max_rate=0.0, publish_unlabelled=False, transform_wait=0.2),
        statistics=SimpleNamespace(frame_published=lambda age: None),
        on_error=lambda error: None,
        on_remark=lambda remark: None,
    )
    assert stream.step() is None
    assert engine.labelled == [names]
