-- ttl, policy, how many records to keep
-- What is due now and then. It answers 1 if there is more to do at once.
operation('beat', function(ttl, policy, keep)
  renew(tonumber(ttl), policy)
  if sweep() then return 1 end
  return fold_old(tonumber(keep)) and 1 or 0
end)
