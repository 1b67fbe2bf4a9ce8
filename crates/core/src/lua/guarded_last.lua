end)
if ran then return { 1, result } end
return { 2, type(result) == 'table' and tostring(result.err) or tostring(result) }
