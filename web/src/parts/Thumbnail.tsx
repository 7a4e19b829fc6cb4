import { useState } from "react";
import { clock } from "../words/measure";

/** A picture from the site, if there is one and it loads; it is told nothing about this page. */
export function Thumbnail({ address, seconds }: { address: string | null; seconds: number | null }) {
  const [broken, setBroken] = useState(false);
  const usable = address !== null && /^https?:\/\//i.test(address) && !broken;
  return (
    <div className="thumbnail">
      {usable ? (
        <img src={address} alt="" loading="lazy" referrerPolicy="no-referrer" onError={() => setBroken(true)} />
      ) : (
        <span aria-hidden="true">▶</span>
      )}
      {seconds !== null && <span className="length"><span className="for-ears">Length </span>{clock(seconds)}</span>}
    </div>
  );
}
