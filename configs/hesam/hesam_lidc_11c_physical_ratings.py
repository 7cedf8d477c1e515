# Both scales and the ratings of all readers.
_base_ = './hesam_lidc_11c_physical.py'
train_dataloader = dict(dataset=dict(target='ratings'))
model = dict(head=dict(loss=dict(type='mmlesion.ReaderRatingLoss')))
