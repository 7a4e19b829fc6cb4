/** A fresh Idempotency-Key. Not `crypto.randomUUID`, which browsers hide from pages served over plain HTTP on a home network. */
export function freshKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
