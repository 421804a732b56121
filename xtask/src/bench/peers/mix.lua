-- What wrk sends in the soak: small answers, some large ones, and now and then the last request of a connection.
local requests = {}
local last = 0

function init()
    for n = 1, 100 do
        local headers = n == 50 and { Connection = "close" } or {}
        requests[n] = wrk.format("GET", n % 10 == 0 and "/100k" or "/1k", headers)
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end
