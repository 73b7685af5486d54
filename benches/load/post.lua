-- wrk: posts one line of a file after the other, and prints what came of it as one line.
--   LINES   the file; each line is a body, or, with FORM, what stands for {T} in it
--   FORM    the body, with {T} in it
--   TYPE    the content type; a form if it is not given
--   TARGET  the path
--   AGAIN   1: at the end of the file it starts over. Else the last line is sent again, and "ran_out" says so
local requests, at = {}, 0
ran_out = 0 -- not local: `done` runs elsewhere, and asks the thread for it

function init()
  local target, form = os.getenv("TARGET") or "/oauth/token", os.getenv("FORM")
  local before, after = "", ""
  if form then before, after = form:match("^(.-){T}(.*)$") end
  local headers = { ["Content-Type"] = os.getenv("TYPE") or "application/x-www-form-urlencoded" }
  for line in io.lines(os.getenv("LINES")) do
    requests[#requests + 1] = wrk.format("POST", target, headers, before .. line .. after)
  end
end

local again = os.getenv("AGAIN") == "1"

function request()
  at = at + 1
  if at > #requests then
    if again then at = 1 else at, ran_out = #requests, 1 end
  end
  return requests[at]
end

local thread

function setup(one)
  thread = one
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    "RESULT requests=%d micros=%d p50=%.1f p99=%.1f p999=%.1f refused=%d broken=%d ran_out=%d\n",
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    failed.status, failed.connect + failed.read + failed.write + failed.timeout,
    thread:get("ran_out") or 0))
end
