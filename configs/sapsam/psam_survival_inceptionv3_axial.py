# Zusag et al., SAPSAM, Sec. 3.3: two-year survival, InceptionV3 on axial projections,
# initialized from the disease network. The paper reports 21 networks: nine for signs, and
# twelve for two tasks, two architectures and three views. From this number, we assume
# that survival was trained with both architectures.
# --cfg-options load_from=FILE selects the best checkpoint of the disease network; see
# psam_survival_vgg19_axial.py for the test patients of both networks.
_base_ = ['../_base_/models/projection_inceptionv3.py', '../_base_/psam_survival.py']
load_from = 'work_dirs/psam_disease_inceptionv3_axial/epoch_60.pth'
