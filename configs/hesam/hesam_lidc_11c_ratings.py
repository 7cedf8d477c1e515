# HESAM trained on the ratings of all readers from 1 to 5 instead of the label, with the
# nodules of a mean rating of 3. The label of the test is the paper's: the mean rating of
# three readers or more, above 3 or below. All numbers here are ours.
_base_ = '../hesam_lidc_11c.py'
train_dataloader = dict(dataset=dict(target='ratings'))
model = dict(head=dict(loss=dict(type='mmlesion.ReaderRatingLoss')))
