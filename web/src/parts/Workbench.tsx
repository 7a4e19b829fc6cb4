import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import * as api from "../api/calls";
import type { Quota, User } from "../api/types";
import { inOrder, type Row } from "../live/board";
import { Feed } from "../live/feed";
import { useAnnouncement } from "./announce";
import { Downloads } from "./Downloads";
import { Header } from "./Header";
import { HistoryList } from "./HistoryList";
import { NewDownload } from "./NewDownload";

/** The page of a signed-in user: a link in on top, what is going on below, what is there at the bottom. */
export function Workbench({ user, sharedLink, onSignOut }: {
  user: User;
  sharedLink: string | null;
  onSignOut: () => void;
}) {
  const [quota, setQuota] = useState<Quota | null>(null);
  const [historyVersion, setHistoryVersion] = useState(0);

  const refresh = useCallback(() => {
    setHistoryVersion((version) => version + 1);
    api.quota().then(setQuota, () => undefined);
  }, []);

  const feed = useMemo(() => new Feed(refresh), [refresh]);
  const board = useSyncExternalStore(feed.subscribe, () => feed.board);
  const link = useSyncExternalStore(feed.subscribe, () => feed.link);
  useEffect(() => {
    feed.start();
    refresh();
    return () => feed.stop();
  }, [feed, refresh]);

  const began = useCallback((rows: Row[]) => {
    rows.forEach((row) => feed.add(row));
    refresh();
  }, [feed, refresh]);

  const rows = inOrder(board);
  const announcement = useAnnouncement(rows);
  return (
    <>
      <Header user={user} quota={quota} onSignOut={onSignOut} />
      <main className="bench">
        <NewDownload sharedLink={sharedLink} onStarted={began} />
        <Downloads rows={rows} link={link} feed={feed} onChanged={refresh} />
        <HistoryList version={historyVersion} running={board} onChanged={refresh} onTask={(task) => (feed.hear([task]), refresh())} />
      </main>
      <p className="for-ears" role="status" aria-live="polite">{announcement}</p>
    </>
  );
}
