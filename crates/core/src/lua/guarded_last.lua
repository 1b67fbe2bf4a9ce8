end)() }
