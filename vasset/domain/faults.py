"""Every way a download fails, once: whose fault it is, in whose words, whether it is tried again, and what its user can do next.

Child, breaker, exits, retries, API, page and command line read this table; a new kind is an entry here and a line of test data. The order
counts: the first kind whose ``phrases`` a site's message holds is its kind, then the first whose ``hints`` it holds (words that more
specific messages use as well). ``evidence`` is looked for in what yt-dlp said on the way, because the cause often stands only there: a
challenge nobody solved is told as "requested format is not available". It explains no more than the kinds it names.

Sites write these texts, so every pattern is linear: no repetition without an upper bound, over text cut to :data:`MAX_TEXT`. The texts of
sites are never repeated; ``words`` are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from vasset.domain.errors import VAssetError

MAX_TEXT = 2_000
MAX_WAIT_SECONDS = 3_600.0


class Fault(StrEnum):
    """Who has to do something. ``site`` includes what its uploader decided."""

    USER = "user"
    SITE = "site"
    EXIT = "exit"  # the address the site sees us by
    PACE = "pace"  # we asked too often
    EXTRACTOR = "extractor"  # yt-dlp, or what it needs installed
    US = "us"


class Retry(StrEnum):
    NEVER = "never"
    SOON = "soon"
    ELSEWHERE = "elsewhere"  # where there are exits, another one; else it would be the same question again


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    fault: Fault
    words: str
    action: str
    retry: Retry = Retry.NEVER
    wait_seconds: float = 0.0  # before the next attempt, doubling with each
    phrases: str | None = None
    hints: str | None = None
    evidence: str | None = None
    explains: frozenset[str] = frozenset()
    is_trouble: bool = False  # the breaker counts it: the site is in trouble, or has enough of us
    blames_exit: bool = False  # another exit may do better

    @property
    def is_retried(self) -> bool:
        """Without another exit, that is."""
        return self.retry is Retry.SOON

    def wait_before(self, attempt: int) -> float:
        """At least so long before the attempt after ``attempt`` (from 1)."""
        return min(MAX_WAIT_SECONDS, self.wait_seconds * 2.0 ** max(0, attempt - 1))


ADMINISTRATOR = "Tell the administrator of this server"
COOKIES = "Only a signed-in visitor sees it: it needs the cookies of an account that may."
BROWSER = "Check in a browser that the video still plays there."
UPDATE = f"{ADMINISTRATOR}: `vasset ytdlp update` brings the newest yt-dlp."
LATER = "Nothing to do now; it can be tried again later."
FREE_SPACE = "Delete files you no longer need, then retry."
FORMATLESS = frozenset({"unavailable_format", "extractor_broken", "client_refused", "removed", "other"})
SIGNED_OUT = frozenset(
    {"bot_check", "login_required", "age_restricted", "members_only", "purchase_required", "private", "cookies_needed"}
)
BLOCKED = frozenset(
    {"bot_check", "ip_blocked", "fingerprint_refused", "extractor_broken", "unavailable_format", "other"}
)

# fmt: off
_TABLE = (
    # What yt-dlp needs and does not find; told in its warnings, before anything that looks like the site's doing.
    Kind("runtime_missing", Fault.EXTRACTOR, "Nothing on this server can run the site's player script.",
         f"{ADMINISTRATOR}: deno is missing or does not start; `vasset doctor` says which.",
         evidence=r"No supported JavaScript runtime", explains=FORMATLESS),
    Kind("challenge_unsolved", Fault.EXTRACTOR, "The site's player script changed, and nobody here can solve it yet.", UPDATE,
         evidence=r"challenge solving failed|Signature solving failed", explains=FORMATLESS),
    Kind("po_token_missing", Fault.EXTRACTOR, "The site gives this video only to players that prove they are one.",
         f"{ADMINISTRATOR}: the site asks for a proof-of-origin token, or for another exit.",
         evidence=r"PO Token|SABR.only|SABR streaming", explains=FORMATLESS),
    Kind("impersonation_missing", Fault.EXTRACTOR, "The site answers browsers only, and this server cannot look like one.",
         f"{ADMINISTRATOR}: curl-cffi is missing or of a version yt-dlp does not take; `vasset doctor` says which.",
         phrases=r"impersonation dependency|no impersonate target is available|impersonate target.{0,60}is not available",
         evidence=r"no impersonate target is available|impersonation, but none", explains=BLOCKED),
    Kind("cookies_expired", Fault.USER, "The cookies given for this site are not valid any more.",
         "Export them again, from a private window that is closed afterwards.",
         phrases=r"Could not authenticate you|cookies are no longer valid",
         evidence=r"cookies are no longer valid|likely been rotated", explains=SIGNED_OUT),
    Kind("login_for_quality", Fault.USER, "The site keeps this quality for signed-in visitors.",
         "Choose a lower quality; the higher ones need the cookies of an account.",
         evidence=r"are missing; you have to", explains=frozenset({"unavailable_format"})),
    # What the site says about who asks.
    Kind("drm", Fault.SITE, "The video is protected by DRM and cannot be downloaded.", "Nothing can be done about it.", phrases=r"\bDRM\b"),
    Kind("unsupported_site", Fault.USER, "No video was recognised behind this address.",
         "Open the video's own page and copy its link from there.", phrases=r"Unsupported URL|used for piracy"),
    Kind("fingerprint_refused", Fault.EXIT, "The site refused us because we do not look like a browser to it.",
         f"{ADMINISTRATOR}: the site wants a browser's fingerprint, or another exit.",
         retry=Retry.SOON, phrases=r"anti-bot challenge", is_trouble=True, blames_exit=True),
    Kind("ip_blocked", Fault.EXIT, "The site refuses the address this server asks from.",
         "Try again later, or ask the administrator for another exit for this site.", retry=Retry.ELSEWHERE,
         phrases=r"\bIP\b.{0,40}\bblocked", hints=r"HTTP Error 403", is_trouble=True, blames_exit=True),
    Kind("media_refused", Fault.SITE, "The site gave an address for the video and then refused to serve it.",
         "Try again in a while; if it stays, tell the administrator.", retry=Retry.SOON, wait_seconds=30.0,
         phrases=r"unable to download video data: HTTP Error 403", is_trouble=True),
    Kind("rate_limited", Fault.PACE, "The site says that too many requests came from here; try again later.",
         "Wait: it is tried again by itself when the site may have forgotten.", retry=Retry.SOON, wait_seconds=300.0,
         phrases=r"HTTP Error 4(?:29|12)|too many requests|rate.?limit|blocked by server \(412\)|please wait and try later",
         is_trouble=True, blames_exit=True),
    Kind("bot_check", Fault.EXIT, "The site asks for proof that no robot is asking; try again later or through another exit.",
         "Try again in an hour; cookies of an account or another exit help sooner.", retry=Retry.SOON,
         phrases=r"not a (?:ro)?bot|captcha|universal data for rehydration|response from webpage request|server \(352\)|retrieve guest token",
         is_trouble=True, blames_exit=True),
    Kind("password_wrong", Fault.USER, "The password given for this video is wrong.", "Correct it.", phrases=r"wrong (?:video )?password"),
    Kind("password_required", Fault.USER, "The video is protected by a password.", "It cannot be downloaded without the password.",
         phrases=r"protected by a password|--video-password"),
    Kind("age_restricted", Fault.USER, "The site shows this video to visitors whose age it knows only.",
         "It needs the cookies of an account whose age is confirmed.",
         phrases=r"confirm your age|age.?restricted|not be comfortable for some|NSFW|inappropriate for some users|needed due to your location"),
    Kind("extractor_broken", Fault.EXTRACTOR, "The site changed, and its page could not be understood.", UPDATE,
         phrases=r"may not extract correctly|any player response|Precondition check failed|JS challenge|challenge data|secondary user ID",
         hints=r"Unable to extract|Failed to (?:parse|download)|No video formats found|extractor error"),
    Kind("private", Fault.USER, "The video is private.", "Ask its owner; a link for invited visitors needs the cookies of one of them.",
         phrases=r"\bprivate\b|protected tweet|who follow this account|permission to view this post"),
    Kind("purchase_required", Fault.USER, "The video has to be bought, rented or subscribed to.", "It needs the cookies of an account that has paid.",
         phrases=r"(?:music )?premium members|requires? payment|purchase|\brent\b"),
    Kind("members_only", Fault.USER, "The video is for members or subscribers of its channel.",
         "It needs the cookies of an account that is one.",
         phrases=r"members.only|channel's members|supporter.only|subscriber.only|Join this channel"),
    Kind("geo_blocked", Fault.EXIT, "The video is not available in the country this server is seen in.",
         "Ask the administrator for an exit in a country that may see it.",
         phrases=r"(?:your|this|the) (?:country|location|region)|geo.?(?:restrict|block)|HTTP Error 451|\u5730\u533a"),
    Kind("account_setting", Fault.USER, "The site hides this until its reader switches a setting on.",
         "Change the setting in the account on the site, then use that account's cookies.", phrases=r"sensitive content"),
    Kind("embed_only", Fault.USER, "The video plays only inside the page it was made for.", "Paste the address of the page that shows it.",
         phrases=r"embed-only|without embedding URL"),
    Kind("cookies_needed", Fault.USER, "The site wants the cookies of a browser that visited it before, signed in or not.",
         "It needs cookies of this site.", phrases=r"fresh cookies"),
    # What the site says about the video.
    Kind("no_media", Fault.USER, "There is no video on that page.", "Paste the link of a post that has one.",
         phrases=r"no video in this|No video could be found|not have any videos|no media"),
    Kind("live_ended", Fault.SITE, "The stream is over.", "Try again in an hour: many sites show it again afterwards.",
         phrases=r"(?:live event|live ?stream) has ended"),
    Kind("not_ready", Fault.SITE, "The site is still working on this video.", "Try again in a quarter of an hour.",
         retry=Retry.SOON, wait_seconds=900.0, phrases=r"processing this video"),
    Kind("upcoming", Fault.SITE, "This has not begun yet; start the download when it has.", "Start the download when it has begun.",
         phrases=r"premieres? in|will begin|not begun|scheduled|not started yet|not yet available|upcoming"),
    Kind("not_live", Fault.SITE, "Nothing is being streamed at this address right now; start the download when the stream has begun.",
         "Start the download when the stream has begun.", phrases=r"not currently live|is not live|^offline|is offline"),
    Kind("client_refused", Fault.EXTRACTOR, "The site refused the way we asked for this video.", UPDATE, retry=Retry.SOON, wait_seconds=60.0,
         phrases=r"page needs to be reloaded|Playback on other websites|not available on this app"),
    Kind("server_error", Fault.SITE, "The site answered with an error of its own.", LATER, retry=Retry.SOON,
         phrases=r"HTTP Error 5[0-9]{2}|temporarily unavailable", is_trouble=True),
    Kind("removed", Fault.SITE, "The video does not exist or was removed.", BROWSER,
         phrases=r"account.{0,60}terminated|closed their.{0,20}account|suspended account|recording is not available|replay is disabled"
                 r"|not have a videos tab|no longer available|been removed",
         hints=r"HTTP Error (?:404|410)|unavailable|not available|isn't available|removed|deleted|not exist|not found|on copyright grounds"),
    Kind("login_required", Fault.USER, "The site shows this video to signed-in visitors only.", COOKIES,
         phrases=r"log.?in\b|logged.?in|sign.?in\b|registered users|HTTP Error 401", hints=r"\baccount\b|--cookies"),
    # The way to the site.
    Kind("exit_refused", Fault.EXIT, "The exit this site is reached through does not work.", f"{ADMINISTRATOR}: an exit refuses its credentials or is away.",
         retry=Retry.ELSEWHERE, phrases=r"HTTP Error 407|Unable to connect to proxy|SOCKS5? authentication", blames_exit=True),
    Kind("tls_invalid", Fault.SITE, "The site's TLS certificate or handshake is not valid.",
         "Nothing can be done here; behind a company's TLS inspection the administrator sets VASSET_CA_FILE.", phrases=r"\bSSL:|CERTIFICATE_VERIFY"),
    Kind("timeout", Fault.SITE, "The site did not answer in time; try again later.", LATER, retry=Retry.SOON, hints=r"timed? ?out|timeout",
         is_trouble=True, blames_exit=True),
    Kind("unreachable", Fault.SITE, "The connection to the site failed; try again later.", LATER, retry=Retry.SOON,
         hints=r"connection (?:was )?(?:reset|refused|aborted)|name resolution|not known|remote end closed", is_trouble=True, blames_exit=True),
    Kind("unavailable_format", Fault.USER, "The requested quality or format does not exist for this video.", "Choose another quality or format.",
         phrases=r"Requested format is not available"),
    Kind("other", Fault.EXTRACTOR, "The site's page could not be read.", BROWSER),
    # On the way to the bytes; the engine's codes.
    Kind("connect", Fault.SITE, "The connection to the site failed.", LATER, retry=Retry.SOON, is_trouble=True, blames_exit=True),
    Kind("stalled", Fault.SITE, "The site stopped sending.", "Retry goes on from the bytes that are here.", retry=Retry.SOON, is_trouble=True, blames_exit=True),
    Kind("truncated", Fault.SITE, "The site ended the file too early.", "Retry goes on from the bytes that are here.", retry=Retry.SOON, is_trouble=True, blames_exit=True),
    Kind("transfer_failed", Fault.SITE, "The video could not be fetched.", "Retry goes on from the bytes that are here; if it fails again, check the page itself.",
         retry=Retry.SOON, is_trouble=True, blames_exit=True),
    Kind("http_status", Fault.SITE, "The site refused to serve the file.", BROWSER),
    Kind("not_found", Fault.SITE, "The file is not there any more.", BROWSER),
    Kind("limit_exceeded", Fault.USER, "The file is larger than this server allows.", "Choose a smaller quality."),
    Kind("egress_denied", Fault.USER, "The address is not on the public internet.", "Only the operator of this server can open private addresses."),
    Kind("invalid_request", Fault.USER, "The site gave an address that is none.", BROWSER),
    Kind("unsupported", Fault.SITE, "The site sends this in a way that cannot be fetched here.", "Choose another quality or format."),
    # What is nobody's page and nobody's file.
    Kind("egress_refused", Fault.USER, "The address is not on the public internet.", "Only the operator of this server can open private addresses."),
    Kind("invalid_input", Fault.USER, "The server did not accept that.", "Correct it and send it again."),
    Kind("invalid_url", Fault.USER, "That is not a web link.", "Copy the whole address from the browser, from https:// on."),
    Kind("urls_expired", Fault.SITE, "The site's addresses ran out in the middle.", "Retry reads the page again and goes on.", retry=Retry.SOON),
    Kind("breaker_open", Fault.SITE, "The site keeps failing and is left alone for a moment.", LATER, retry=Retry.SOON),
    Kind("postprocess_failed", Fault.US, "The streams could not be made into the requested file.", "Try another format; `original` needs no conversion."),
    Kind("storage_failed", Fault.US, "The file could not be stored.", "Try again; if it stays, tell the administrator.", retry=Retry.SOON),
    Kind("disk_full", Fault.US, "The server's disk is full.", FREE_SPACE, retry=Retry.SOON),
    Kind("disk_pressure", Fault.US, "The server's disk is nearly full.", FREE_SPACE, retry=Retry.SOON),
    Kind("task_timed_out", Fault.SITE, "Nothing arrived for too long.", "Retry goes on where the bytes stopped, or choose a smaller quality.", retry=Retry.SOON),
    Kind("crashed", Fault.US, "Reading the page crashed; it is tried again.", "If it stays, tell the administrator: the log has the details.", retry=Retry.SOON),
    Kind("worker_lost", Fault.US, "Every worker that tried this download ended in the middle of it.", "Tell the administrator: the log has the details."),
    Kind("task_failed", Fault.US, "The download failed.", "Try it again."),
    Kind("unavailable", Fault.US, "A part of the service is not available.", "Try again in a moment.", retry=Retry.SOON),
    Kind("internal", Fault.US, "Something broke on the server.", "Try again; if it stays, tell the administrator: the log has the details.", retry=Retry.SOON),
)
# fmt: on
KINDS = {kind.name: kind for kind in _TABLE}

_PHRASES = tuple((kind, re.compile(kind.phrases, re.IGNORECASE)) for kind in _TABLE if kind.phrases)
_HINTS = tuple((kind, re.compile(kind.hints, re.IGNORECASE)) for kind in _TABLE if kind.hints)
_EVIDENCE = tuple((kind, re.compile(kind.evidence, re.IGNORECASE)) for kind in _TABLE if kind.evidence)
# yt-dlp's own advice behind a site's message: it names logins, proxies and cookies whatever the matter is.
_ADVICE = re.compile(
    r"\b(?:use|try again with) {1,3}--|\b(?:also )?see {1,3}https://github\.com/yt-dlp|please report this issue|you might want to (?:use|try) a VPN",
    re.IGNORECASE,
)


def kind_of_words(message: str, said: Iterable[str] = ()) -> Kind | None:
    """The kind of a site's refusal; ``said`` is what yt-dlp warned of before. None when neither says anything known."""
    text = _plain(message)
    found = _first(_PHRASES, text) or _first(_HINTS, text)
    return explained(found, said)


def explained(found: Kind | None, said: Iterable[str]) -> Kind | None:
    """What the warnings show to be the cause of ``found``, else ``found`` itself."""
    name = found.name if found is not None else "other"
    warnings = [text[:MAX_TEXT] for text in said]
    for kind, pattern in _EVIDENCE:
        if name in kind.explains and any(pattern.search(text) for text in warnings):
            return kind
    return found


def is_evidence(text: str) -> bool:
    """Whether a line of yt-dlp's is worth keeping although it is no warning."""
    return _first(_EVIDENCE, text[:MAX_TEXT]) is not None


def kind_of(error: VAssetError) -> Kind:
    """By the kind it carries, else by its reason or that of what it is a kind of."""
    carried = KINDS.get(str(getattr(error, "kind", "")))
    if carried is not None and carried.name != "other":
        return carried
    reasons = (getattr(ancestor, "reason", "") for ancestor in type(error).__mro__)
    specific = next((KINDS[reason] for reason in reasons if reason in KINDS), KINDS["internal"])
    return carried if carried is not None and specific.name == "task_failed" else specific


def kind_named(name: str | None, reason: str) -> Kind:
    """Of a failure on a row. Rows of before know their reason only."""
    return KINDS.get(name or "") or KINDS.get(reason) or KINDS["task_failed"]


def _first(table: tuple[tuple[Kind, re.Pattern[str]], ...], text: str) -> Kind | None:
    return next((kind for kind, pattern in table if pattern.search(text)), None)


def _plain(message: str) -> str:
    """Straight quotes, bounded, and without yt-dlp's advice."""
    text = message[:MAX_TEXT].replace("\u2019", "'")
    advice = _ADVICE.search(text)
    kept = text[: advice.start()].strip() if advice else text
    return kept or text
