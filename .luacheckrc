-- For the scripts of crates/core/src/lua as they run: `cargo xtask scripts` joins their parts.
std = {
  read_globals = {
    -- What Redis 6.2 gives to a script, and the server's Lua 5.1 has.
    "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct",
    "ipairs", "math", "next", "pairs", "pcall", "select", "string", "table", "tonumber", "tostring", "type", "unpack",
    "error", "assert",
  },
}
max_line_length = 140
-- A parameter that is called like a variable outside: a function that reads that variable instead costs 0.3 us more.
ignore = { "431" }
