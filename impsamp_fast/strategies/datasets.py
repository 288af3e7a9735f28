"""The strategies that choose the samples of each epoch: the samplers themselves."""

from impsamp_fast.dataset import (
    ActiveBias,
    Bandit,
    EarlyImportance,
    EpochAccuracyFilter,
    InfoBatch,
    OnlineBatchSelection,
    RandomPruning,
    RecencyBias,
)
from impsamp_fast.strategies.assist import BIBTEX as SMEDAS
from impsamp_fast.strategies.registry import register

QUERCIA = """
@inproceedings{quercia2023sgd,
  author    = {Quercia, Alessio and Morrison, Abigail and Scharr, Hanno and Assent, Ira},
  title     = {{SGD} Biased towards Early Important Samples for Efficient Training},
  booktitle = {IEEE International Conference on Data Mining},
  pages     = {1289--1294},
  year      = {2023}
}
"""

LOSHCHILOV = """
@article{loshchilov2015online,
  author  = {Loshchilov, Ilya and Hutter, Frank},
  title   = {Online Batch Selection for Faster Training of Neural Networks},
  journal = {arXiv preprint arXiv:1511.06343},
  year    = {2015}
}
"""

SONG = """
@inproceedings{song2020carpe,
  author    = {Song, Hwanjun and Kim, Minseok and Kim, Sundong and Lee, Jae-Gil},
  title     = {Carpe Diem, Seize the Samples Uncertain ``at the Moment'' for Adaptive Batch
               Selection},
  booktitle = {Proceedings of the 29th ACM International Conference on Information and Knowledge
               Management},
  year      = {2020}
}
"""

CHANG = """
@inproceedings{chang2017active,
  author    = {Chang, Haw-Shiuan and Learned-Miller, Erik and McCallum, Andrew},
  title     = {Active Bias: Training More Accurate Neural Networks by Emphasizing High Variance
               Samples},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {30},
  pages     = {1002--1012},
  year      = {2017}
}
"""

LIU = """
@inproceedings{liu2020adam,
  author    = {Liu, Rui and Wu, Tianyi and Mozafari, Barzan},
  title     = {Adam with Bandit Sampling for Deep Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020}
}
"""

QIN = """
@inproceedings{qin2024infobatch,
  author    = {Qin, Ziheng and Wang, Kai and Zheng, Zangwei and Gu, Jianyang and Peng, Xiangyu and
               Xu, Zhaopan and Zhou, Daquan and Shang, Lei and Sun, Baigui and Xie, Xuansong and
               You, Yang},
  title     = {{InfoBatch}: Lossless Training Speed Up by Unbiased Dynamic Data Pruning},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}
"""


register("early-importance", level="dataset", bibtex=QUERCIA)(EarlyImportance)
register("online-batch", level="dataset", bibtex=LOSHCHILOV)(OnlineBatchSelection)
register("recency-bias", level="dataset", bibtex=SONG)(RecencyBias)
register("active-bias", level="dataset", bibtex=CHANG)(ActiveBias)
register("bandit", level="dataset", bibtex=LIU)(Bandit)
register("infobatch", level="dataset", bibtex=QIN)(InfoBatch)
register("epoch-accuracy", level="dataset", bibtex=SMEDAS)(EpochAccuracyFilter)
register("random-pruning", level="dataset", bibtex="")(RandomPruning)
