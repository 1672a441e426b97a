return F.run(function() return 1 end)
