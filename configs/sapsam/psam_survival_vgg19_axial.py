# Zusag et al., SAPSAM, Sec. 3.3: two-year survival on axial projections, initialized from
# the best checkpoint of the disease network (--cfg-options load_from=FILE). Test patients
# of this config may be training patients of that network; the paper does not discuss this.
# If the list of scans has no column "split", train the disease network with num_folds=3,
# too, so that both networks have the same test patients.
_base_ = ['../_base_/models/projection_vgg19.py', '../_base_/psam_survival.py']
load_from = 'work_dirs/psam_disease_vgg19_axial/epoch_60.pth'
