"""The HTTP face: routes, schemas, the WebSocket, file delivery and the page. Speaks to ports only."""
