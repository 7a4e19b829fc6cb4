import { useRef, useState } from "react";
import type { Quota, User } from "../api/types";
import { secondsUntil, span } from "../words/measure";
import { AccountDialog } from "./AccountDialog";
import { Mark } from "./Mark";
import { useNow } from "./now";

export function Header({ user, quota, onSignOut }: { user: User; quota: Quota | null; onSignOut: () => void }) {
  const now = useNow(60_000);
  const [accountOpen, setAccountOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  return (
    <header className="top">
      <Mark />
      {quota && (
        <p className="quota" title={`Starts again in ${span(secondsUntil(quota.reset_at, now))}`}>
          <strong>{quota.remaining}</strong> <span>of {quota.daily_limit} downloads left today</span>
          <progress value={quota.daily_used} max={Math.max(1, quota.daily_limit)} aria-label="Downloads used today" />
        </p>
      )}
      <div className="row">
        <button type="button" className="quiet name" ref={button} onClick={() => setAccountOpen(true)} aria-haspopup="dialog">
          {user.nickname}
        </button>
        <button type="button" className="quiet" onClick={onSignOut}>Sign out</button>
      </div>
      {accountOpen && (
        <AccountDialog
          user={user}
          onClose={() => {
            setAccountOpen(false);
            button.current?.focus();
          }}
        />
      )}
    </header>
  );
}
