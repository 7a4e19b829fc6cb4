import { useEffect, useRef, useState } from "react";
import type { Row } from "../live/board";
import { phaseWords } from "../words/phases";

/** What a screen reader is told: each change of phase, and every quarter of a download. Not every tick. */
export function useAnnouncement(rows: readonly Row[]): string {
  const [text, setText] = useState("");
  const told = useRef(new Map<string, string>());
  useEffect(() => {
    for (const row of rows) {
      const quarter = row.phase === "downloading" && row.percent !== null ? Math.floor(row.percent / 25) * 25 : 0;
      const mark = `${row.phase} ${quarter}`;
      const before = told.current.get(row.task_id);
      if (before === mark) continue;
      told.current.set(row.task_id, mark);
      if (before !== undefined)
        setText(`${row.title ?? "Download"}: ${phaseWords(row.phase)}${quarter > 0 ? `, ${quarter} percent` : ""}`);
    }
  }, [rows]);
  return text;
}
