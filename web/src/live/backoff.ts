/** Milliseconds before connection attempt number `attempt` (from 0): 0.5 s doubling to 30 s, the upper half random. */
export function backoffMs(attempt: number, chance: number = Math.random()): number {
  const ceiling = Math.min(30_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.5 + 0.5 * chance));
}
