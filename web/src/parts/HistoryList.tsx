import { type FormEvent, useEffect, useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import type { HistoryEntry, Task } from "../api/types";
import { type Board, hasEnded } from "../live/board";
import { ErrorNotice } from "./ErrorNotice";
import { HistoryRow } from "./HistoryRow";
import { useNow } from "./now";

const PER_PAGE = 20;

/** Everything that was ever downloaded and not deleted; the newest first. */
export function HistoryList({ version, running, onChanged, onTask }: {
  version: number;
  running: Board;
  onChanged: () => void;
  onTask: (task: Task) => void;
}) {
  const now = useNow(20_000);
  const [pages, setPages] = useState(1);
  const [search, setSearch] = useState("");
  const [entries, setEntries] = useState<HistoryEntry[] | null>(null);
  const [total, setTotal] = useState(0);
  const [failure, setFailure] = useState<Failure | null>(null);

  useEffect(() => {
    let current = true;
    const numbers = Array.from({ length: pages }, (_, index) => index + 1);
    Promise.all(numbers.map((page) => api.history(page, PER_PAGE, search))).then(
      (found) => {
        if (!current) return;
        const byId = new Map(found.flatMap((page) => page.items).map((entry) => [entry.id, entry])); // pages shift while downloads end
        setEntries([...byId.values()]);
        setTotal(found[0]!.total);
        setFailure(null);
      },
      (error: unknown) => current && setFailure(asFailure(error)),
    );
    return () => {
      current = false;
    };
  }, [version, pages, search]);

  const find = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setPages(1);
    setSearch(String(new FormData(event.currentTarget).get("q") ?? "").trim());
  };

  const shown = (entries ?? []).filter((entry) => {
    const row = running.get(entry.task_id);
    return row === undefined || hasEnded(row); // what runs is shown above
  });
  return (
    <section aria-labelledby="history-title">
      <div className="section-head">
        <h2 id="history-title">History</h2>
        {(total > 5 || search) && (
          <form role="search" className="history-search" onSubmit={find}>
            <input name="q" type="search" placeholder="Search titles" aria-label="Search the history" maxLength={200} />
            <button type="submit" className="small">Search</button>
          </form>
        )}
      </div>
      {failure && <ErrorNotice failure={failure} onRetry={onChanged} />}
      {entries !== null && shown.length === 0 && (
        <p className="empty">{search ? `Nothing in your history matches “${search}”.` : "Finished downloads appear here."}</p>
      )}
      <ul className="rows">
        {shown.map((entry) => (
          <HistoryRow key={entry.id} entry={entry} now={now} onChanged={onChanged} onTask={onTask} />
        ))}
      </ul>
      {total > PER_PAGE * pages && (
        <button type="button" className="small" onClick={() => setPages(pages + 1)}>Show older</button>
      )}
    </section>
  );
}
