import { useEffect, useState } from "react";
import * as api from "./api/calls";
import { asFailure, type Failure } from "./api/failure";
import { onSessionEnd } from "./api/http";
import { tokens } from "./api/tokens";
import type { User } from "./api/types";
import { takeSharedLink } from "./media/link";
import { ErrorNotice } from "./parts/ErrorNotice";
import { Mark } from "./parts/Mark";
import { SignIn } from "./parts/SignIn";
import { Workbench } from "./parts/Workbench";

/** Read once, before React runs anything twice. */
const sharedLink = takeSharedLink();

/** Who is here: nobody yet known, somebody, or nobody. */
export function App() {
  const [user, setUser] = useState<User | null>(null);
  const [checking, setChecking] = useState(() => tokens.refresh() !== null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [attempt, setAttempt] = useState(0);

  useEffect(() => onSessionEnd(() => setUser(null)), []);

  useEffect(() => {
    if (tokens.refresh() === null) return setChecking(false);
    let current = true;
    setFailure(null);
    api.me().then(
      (known) => current && (setUser(known), setChecking(false)),
      (error: unknown) => {
        if (!current) return;
        if (asFailure(error).httpStatus !== 401) setFailure(asFailure(error));
        setChecking(false);
      },
    );
    return () => {
      current = false;
    };
  }, [attempt]);

  const signOut = () => {
    setUser(null);
    api.logout().catch(() => undefined); // forgotten here in any case; the server's session ends by itself otherwise
  };

  if (user) return <Workbench user={user} sharedLink={sharedLink} onSignOut={signOut} />;
  if (checking) return <p className="opening" role="status">Opening V-Asset…</p>;
  if (failure)
    return (
      <main className="gate">
        <Mark />
        <ErrorNotice failure={failure} onRetry={() => (setChecking(true), setAttempt(attempt + 1))} />
      </main>
    );
  return <SignIn onSignedIn={setUser} />;
}
