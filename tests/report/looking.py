"""What tests ask of pages and pictures."""

from __future__ import annotations

from html.parser import HTMLParser

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Tags(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_lies_inside(figure: Figure) -> bool:
    """Whether titles, labels, names on the axes and legends of a figure are drawn within it."""
    FigureCanvasAgg(figure).draw()
    texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    # Of the numbered axis up the side none: matplotlib makes labels that lie outside its limits and are not drawn.
    for axes in figure.axes:
        low, high = sorted(axes.get_xlim())
        places = zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
        texts += [text for text, place in places if low <= place <= high]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [text.get_window_extent() for text in (*texts, *figure.texts) if text.get_text()]
    assert len(boxes) >= 5
    frame = figure.bbox
    return all(box.x0 >= 0 and box.x1 <= frame.x1 and box.y0 >= 0 and box.y1 <= frame.y1 for box in boxes)
