-- Load over HTTP for wrk: each request updates one of 1,000 roles, which the first requests create.
--
--   wrk -t1 -c64 -d15s --latency -s benches/http/role-updates.lua http://127.0.0.1:8080
--
-- Where the server asks for one, DORMOUSE_TOKEN holds the token.
--
-- Roles need no password hash, so this measures the way of a command and not argon2. It prints how
-- many answers were not 200 or 201: any such is a failed run.

local roles = 1000
local sent = 0
failed = 0
local run = os.time()

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

local token = os.getenv("DORMOUSE_TOKEN")
if token then wrk.headers["Authorization"] = "Bearer " .. token end

function request()
  local role = sent % roles
  local path, body
  -- wrk asks for one request that it never sends: so the role of the first is made last.
  if sent <= roles then
    path = string.format("/v1/aggregates/Role/r%d-%d/commands/create", run, role)
    body = string.format('{"code":"C%d-%d","name":"role %d"}', run, role, role)
  else
    path = string.format("/v1/aggregates/Role/r%d-%d/commands/update", run, role)
    body = string.format('{"name":"role %d, change %d"}', role, sent)
  end
  sent = sent + 1
  return wrk.format(nil, path, nil, body)
end

function response(code)
  if code ~= 200 and code ~= 201 then failed = failed + 1 end
end

local threads = {}
function setup(thread) table.insert(threads, thread) end

function done(summary)
  for _, thread in ipairs(threads) do
    io.write(string.format("answers other than 200 and 201: %d\n", thread:get("failed")))
  end
  io.write(string.format("requests per second: %.0f\n", summary.requests / summary.duration * 1e6))
end
