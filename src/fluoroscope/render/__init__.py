"""Views drawn for one medium each: terminal, Markdown, HTML, figure."""
