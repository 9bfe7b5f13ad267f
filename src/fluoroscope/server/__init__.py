"""The lab's server: every analysis of the registry over HTTP and WebSocket, and the page that shows them."""
