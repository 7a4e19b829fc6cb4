/** `Firefox on Linux`: enough of a user agent to recognise one's own devices. */
export function browserName(userAgent: string | null): string {
  if (!userAgent) return "Unknown device";
  const browser = first(userAgent, [["Edg", "Edge"], ["OPR", "Opera"], ["Firefox", "Firefox"], ["Chrom", "Chrome"], ["Safari", "Safari"]]);
  const system = first(userAgent, [["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Windows", "Windows"], ["Mac OS", "Mac"], ["Linux", "Linux"]]);
  if (!browser) return userAgent.split(/[/ ]/, 1)[0]!.slice(0, 40);
  return system ? `${browser} on ${system}` : browser;
}

function first(text: string, names: readonly (readonly [string, string])[]): string | null {
  return names.find(([mark]) => text.includes(mark))?.[1] ?? null;
}
