-- wrk sends the file $BODY over and over and ends with one line that tests/bench/load.py reads.

local body = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = body:read("*a")
wrk.headers["X-Vault-Request"] = "true"
wrk.headers["X-Vault-Token"] = os.getenv("TOKEN")
body:close()

local keys = tonumber(os.getenv("KEYS")) or 0
if keys > 0 then
    -- A step that meets every key before it meets one again.
    local at = 0
    function request()
        at = (at + 7919) % keys
        return wrk.format(nil, wrk.path .. at)
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        "figures requests=%d micros=%d p50=%d p99=%d failed=%d\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status
    ))
end
