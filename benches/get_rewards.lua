-- Get Rewards for one account after another, for wrk. docs/performance.md has the command.
--
-- The first argument after -- is a file with the lines of /_simulator/accounts.

local requests, at = {}, 0

local function escaped(text)
  return (text:gsub("[^%w%-_%.~]", function(c) return string.format("%%%02X", c:byte()) end))
end

function init(args)
  for line in io.lines(args[1]) do
    local account = line:match('"account_id":"(.-)","rewards"') or line:match('"account_id":"(.-)"')
    requests[#requests + 1] = wrk.format("GET", "/api/v1/simulator/reward?accountId=" .. escaped(account))
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
