"""The program that imports yt-dlp: a nursery forks children, each child does one job at a time."""
