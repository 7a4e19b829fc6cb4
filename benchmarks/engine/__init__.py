"""The engine against curl, aria2, hf_transfer, yt-dlp and a floor, interleaved on loopback nginx."""
