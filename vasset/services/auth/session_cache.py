"""What SQL said about a session at most ``revocation_seconds`` ago. Local on purpose: no cache server can resurrect a session."""

from __future__ import annotations

from collections import OrderedDict

from vasset.domain.ports import AccountStore, Clock, SessionState

CAPACITY = 50_000


class SessionCache:
    def __init__(self, store: AccountStore, clock: Clock, *, max_age_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._known: OrderedDict[int, tuple[float, SessionState]] = OrderedDict()
        self._epoch = 0

    async def state(self, session_id: int) -> SessionState | None:
        """Raises ``DependencyDown`` when SQL does not answer and nothing fresh is known: no answer is no permission."""
        now = self._clock.monotonic()
        known = self._known.get(session_id)
        if known is not None and now - known[0] < self._max_age_seconds:
            return known[1]
        epoch = self._epoch
        state = await self._store.session(session_id)
        if state is None:
            self._known.pop(session_id, None)
        elif epoch == self._epoch:  # else a session ended while SQL was asked: the answer may be from before
            self._known[session_id] = (now, state)
            self._known.move_to_end(session_id)
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        return state

    def forget(self, session_id: int) -> None:
        self._epoch += 1
        self._known.pop(session_id, None)

    def forget_user(self, user_id: int) -> None:
        self._epoch += 1
        for session_id in [key for key, (_, state) in self._known.items() if state.user_id == user_id]:
            del self._known[session_id]
