import { type FormEvent, useEffect, useRef, useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import type { Session, User } from "../api/types";
import { ago } from "../words/measure";
import { browserName } from "../words/browser";
import { ErrorNotice } from "./ErrorNotice";

/** Who I am here, a new password, and where I am signed in. */
export function AccountDialog({ user, onClose }: { user: User; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [sessions, setSessions] = useState<Session[]>([]);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [done, setDone] = useState("");
  const [invitation, setInvitation] = useState("");

  const load = () => api.sessions().then(setSessions, (error: unknown) => setFailure(asFailure(error)));
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
    void load();
  }, []);

  const change = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const target = event.currentTarget;
    const form = new FormData(target);
    setFailure(null);
    setDone("");
    try {
      await api.changePassword(String(form.get("current")), String(form.get("next")));
      target.reset();
      setDone("The password is changed; other devices are signed out.");
      await load();
    } catch (error) {
      setFailure(asFailure(error));
    }
  };
  const invite = () =>
    api.invite().then((answer) => setInvitation(answer.invitation), (error: unknown) => setFailure(asFailure(error)));
  const end = (session: Session) => api.endSession(session.id).then(load, (error: unknown) => setFailure(asFailure(error)));

  return (
    <dialog ref={dialog} className="card stack" aria-labelledby="account-title" onClose={onClose}>
      <div className="section-head">
        <h2 id="account-title">Account</h2>
        <button type="button" className="small quiet" onClick={() => dialog.current?.close()}>Close</button>
      </div>
      <p className="muted">{user.email} · {user.role}</p>
      <form className="stack" onSubmit={change}>
        <label>Present password<input name="current" type="password" autoComplete="current-password" required /></label>
        <label>
          New password
          <input name="next" type="password" autoComplete="new-password" required minLength={8}
            pattern="(?=.*[A-Za-z])(?=.*[0-9]).{8,}" title="At least 8 characters, with a letter and a digit" />
        </label>
        <div className="row"><button type="submit">Change password</button></div>
      </form>
      {user.role === "admin" && (
        <div className="row">
          <button type="button" onClick={() => void invite()}>Invite somebody</button>
          {invitation && <code className="code" tabIndex={0} aria-label="Invitation code">{invitation}</code>}
        </div>
      )}
      <p role="status">{done}</p>
      {failure && <ErrorNotice failure={failure} onClose={() => setFailure(null)} />}
      <h3>Signed in</h3>
      <ul className="sessions">
        {sessions.map((session) => (
          <li key={session.id}>
            <span>{browserName(session.user_agent)} <span className="muted">since {ago(session.created_at, Date.now())}</span></span>
            {session.current ? <span className="tag calm">this one</span> : (
              <button type="button" className="small" onClick={() => void end(session)}>Sign out</button>
            )}
          </li>
        ))}
      </ul>
    </dialog>
  );
}
