"""One gRPC server per service: token check, request id, deadline, error mapping, health, reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vasset.domain.errors import InvalidInput, VAssetError
from vasset.services import context as call_context
from vasset.services.errors import status_of, to_metadata

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 4 * 2**20
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
]
OPEN_METHODS = ("/grpc.health.v1.", "/grpc.reflection.")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """mTLS between services: both sides show a certificate signed by ``authority``."""

    certificate: Path
    key: Path
    authority: Path


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Runs every call with its request id and deadline, and turns what it raises into a status."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(OPEN_METHODS):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(handler.unary_unary, method, handler.request_deserializer),
                None,  # decoded in the call, where a malformed message is an answer and not a traceback
                handler.response_serializer,
            )
        return grpc.unary_stream_rpc_method_handler(
            self._stream(handler.unary_stream, method, handler.request_deserializer),
            None,
            handler.response_serializer,
        )

    def _enter(self, context: Any) -> None:
        metadata = call_context.read(context.invocation_metadata())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            request_id=metadata.get(call_context.REQUEST_ID), user_id=metadata.get(call_context.USER_ID)
        )
        call_context.enter_deadline(context.time_remaining())
        call_context.check_token(metadata, self._token)

    def _unary(self, behaviour: Any, method: str, decode: Any) -> Any:
        async def call(data: bytes, context: Any) -> Any:
            try:
                self._enter(context)
                return await behaviour(_decoded(data, decode), context)
            except VAssetError as error:
                await context.abort(status_of(error), error.message, to_metadata(error))
            except Exception:
                log.exception("call failed", method=method)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error", to_metadata(VAssetError()))

        return call

    def _stream(self, behaviour: Any, method: str, decode: Any) -> Any:
        async def call(data: bytes, context: Any) -> AsyncIterator[Any]:
            try:
                self._enter(context)
                async for item in behaviour(_decoded(data, decode), context):
                    yield item
            except VAssetError as error:
                await context.abort(status_of(error), error.message, to_metadata(error))
            except Exception:
                log.exception("call failed", method=method)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error", to_metadata(VAssetError()))

        return call


def _decoded(data: bytes, decode: Any) -> Any:
    try:
        return decode(data)
    except DecodeError:
        raise InvalidInput("The message is not well-formed protobuf.") from None


class ServiceServer:
    """A started gRPC server. Health is NOT_SERVING until :meth:`set_ready`; :meth:`stop` lets running calls end."""

    def __init__(self, token: str, *, tls: TlsFiles | None = None) -> None:
        self._server = grpc.aio.server(interceptors=[CallInterceptor(token)], options=OPTIONS)
        self._tls = tls
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names: list[str] = []

    def add(self, register: Callable[[Any, Any], None], servicer: object, descriptor: Any) -> None:
        register(servicer, self._server)
        self._names.append(descriptor.full_name)

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; answers the port (0 asks for a free one). Raises ``OSError`` when it is taken."""
        reflection.enable_server_reflection([*self._names, reflection.SERVICE_NAME, health.SERVICE_NAME], self._server)
        address = f"{host}:{port}"
        try:
            if self._tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, _server_credentials(self._tls))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        await self.set_ready(False)
        await self._server.start()
        return bound

    async def set_ready(self, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ["", *self._names]:
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def _server_credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=tls.authority.read_bytes(),
        require_client_auth=True,
    )
