import type { Row } from "../live/board";
import type { Feed, Link } from "../live/feed";
import { DownloadRow } from "./DownloadRow";

/** What is going on, and what has ended while the page was open. */
export function Downloads({ rows, link, feed, onChanged }: {
  rows: readonly Row[];
  link: Link;
  feed: Feed;
  onChanged: () => void;
}) {
  if (rows.length === 0) return null;
  return (
    <section aria-labelledby="downloads-title">
      <div className="section-head">
        <h2 id="downloads-title">Downloads</h2>
        {link === "polling" && <span className="muted" title="Live updates are away; the numbers are asked for every two seconds">reconnecting…</span>}
      </div>
      <ul className="rows">
        {rows.map((row) => (
          <DownloadRow key={row.task_id} row={row} feed={feed} onChanged={onChanged} />
        ))}
      </ul>
    </section>
  );
}
