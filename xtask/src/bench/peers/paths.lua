-- wrk asks for as many paths as it is told, each of another route, one after the other.
local requests = {}
local last = 0

function init(arguments)
    for n = 0, tonumber(arguments[1]) - 1 do
        requests[n + 1] = wrk.format("GET", string.format("/r%04d/1k", n))
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end
