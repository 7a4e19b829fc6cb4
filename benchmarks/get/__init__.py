"""``vasset get`` beside yt-dlp: one page, one file."""
