import { useState } from "react";
import { fileAddress } from "../api/calls";
import { asFailure, type Failure } from "../api/failure";

/** Saves the finished file: a one-time address, opened by the browser itself, so that any size streams to disk. */
export function SaveButton({ historyId, title, onFailure }: {
  historyId: number;
  title: string;
  onFailure: (failure: Failure | null) => void;
}) {
  const [busy, setBusy] = useState(false);
  const save = async () => {
    setBusy(true);
    onFailure(null);
    try {
      const link = document.createElement("a");
      link.href = await fileAddress(historyId);
      link.download = "";
      link.click();
    } catch (error) {
      onFailure(asFailure(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" className="small primary" disabled={busy} onClick={() => void save()} aria-label={`Save ${title}`}>Save</button>
  );
}
