/** The one error the page's calls reject with. `reason` is the stable word of the API, or one of the page's own below. */
export class Failure extends Error {
  readonly reason: string;
  readonly code: number;
  readonly httpStatus: number;
  readonly retryable: boolean;
  readonly kind: string | null;
  readonly action: string | null;
  readonly requestId: string | null;
  readonly retryAfterSeconds: number | null;

  constructor(parts: {
    reason: string;
    message: string;
    code?: number;
    httpStatus?: number;
    retryable?: boolean;
    kind?: string | null;
    action?: string | null;
    requestId?: string | null;
    retryAfterSeconds?: number | null;
  }) {
    super(parts.message);
    this.name = "Failure";
    this.reason = parts.reason;
    this.code = parts.code ?? 0;
    this.httpStatus = parts.httpStatus ?? 0;
    this.retryable = parts.retryable ?? false;
    this.kind = parts.kind ?? null;
    this.action = parts.action ?? null;
    this.requestId = parts.requestId ?? null;
    this.retryAfterSeconds = parts.retryAfterSeconds ?? null;
  }
}

export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure({ reason: "page_fault", message: error instanceof Error ? error.message : String(error) });
}
