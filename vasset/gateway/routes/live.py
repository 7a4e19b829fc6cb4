"""``POST /api/v1/ws/ticket``: the key to ``/api/v1/ws``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from vasset.domain.user import Identity
from vasset.gateway import schemas
from vasset.gateway.access import bearer_token
from vasset.gateway.answers import success
from vasset.gateway.deps import gateway_of, identity_of
from vasset.gateway.live.socket import PURPOSE
from vasset.gateway.route import ApiRoute
from vasset.gateway.tickets import TICKET_SECONDS, Bearer, token_end

router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["progress"])


@router.post("/ws/ticket", response_model=schemas.Envelope[schemas.TicketData])
async def ws_ticket(request: Request, identity: Annotated[Identity, Depends(identity_of)]) -> Response:
    """A ticket for one WebSocket: ``Sec-WebSocket-Protocol: vasset.v1, ticket.<ticket>`` within 30 s, once."""
    bearer = Bearer(
        user_id=identity.user_id,
        role=int(identity.role),
        session_id=identity.session_id,
        expires_at=token_end(bearer_token(request.headers)),
    )
    return success({"ticket": await gateway_of(request).tickets.issue(PURPOSE, bearer), "expires_in": TICKET_SECONDS})
