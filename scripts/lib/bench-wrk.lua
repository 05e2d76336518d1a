-- For wrk: POSTs single events, and prints what came of it on one line.
--
--   wrk … -s bench-wrk.lua http://127.0.0.1:8080 -- FILE TOKEN
--
-- FILE holds events, one a line; each thread sends them over and over.

local PATH = "/api/v1/device_app_connection_log/"
local requests, sent = {}, 0

function init(arguments)
    local headers = {
        ["Authorization"] = "Bearer " .. arguments[2],
        ["Content-Type"] = "application/json",
    }
    for line in io.lines(arguments[1]) do
        requests[#requests + 1] = wrk.format("POST", PATH, headers, line)
    end
end

function request()
    sent = sent + 1
    return requests[sent % #requests + 1]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        "requests_per_second=%.0f failed=%d p50_us=%d p99_us=%d\n",
        summary.requests / summary.duration * 1e6,
        errors.status + errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
