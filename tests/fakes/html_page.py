"""A page of HTML as a browser would meet it."""

from collections import Counter
from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects what a browser would load, run or show."""

    def __init__(self, text):
        super().__init__()
        self.source, self.tags, self.addresses, self.text = text, Counter(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.addresses += [value for key, value in attributes if key in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)

    def assert_needs_nothing_beside_itself(self):
        assert all(address.startswith("data:image/jpeg;base64,") for address in self.addresses)
        assert not {"link", "script", "iframe"} & set(self.tags)
        assert "url(" not in self.source
        assert "@import" not in self.source
