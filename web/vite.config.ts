import { defineConfig } from "vite";

// The page is served as `/` (index.html) and `/static/…` (everything else), under a CSP without any inline code:
// hence one stylesheet, no inlined assets, no preload polyfill. Names carry a content hash, so that the same sources
// build the same bytes anywhere (CI compares them with the committed folder).
export default defineConfig({
  base: "/static/",
  build: {
    outDir: "../vasset/gateway/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: true,
    target: ["chrome111", "firefox114", "safari16.4"],
  },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
