-- Look-ups of orders in random order at the API, for wrk. docs/performance.md has the command.
--
-- The first argument after -- is a file of order IDs, one a line. With `check` as the second argument every response is read, and
-- responses without their order are counted. That takes a good part of wrk's own time.

local requests, threads = {}, {}
missed = 0

local function escaped(text)
  return (text:gsub("[^%w%-_%.~]", function(c) return string.format("%%%02X", c:byte()) end))
end

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("seed", #threads)
end

function init(args)
  math.randomseed(seed)
  response = args[2] == "check" and checked or nil
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/api/v1/lookup?order_id=" .. escaped(line))
  end
end

function request()
  return requests[math.random(#requests)]
end

local function checked(status, _, body)
  if status ~= 200 or not body:find('"reward_id"', 1, true) then
    missed = missed + 1
  end
end

function done(summary, latency)
  local without = 0
  for _, thread in ipairs(threads) do
    without = without + thread:get("missed")
  end
  local errors = summary.errors
  io.write(string.format("99th percentile %.1f ms, failed %d, without their order %d\n", latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, without))
end
